-- Health of a CachePurge: whether what it names is gone.
local status, found = obj.status or {}, {}
for _, each in ipairs(status.conditions or {}) do
  found[each.type] = each
end
if (status.observedGeneration or 0) < (obj.metadata.generation or 0) then
  return {status = "Progressing", message = "the operator has not looked at it yet"}
end

for kind, health in pairs({Failed = "Degraded", Complete = "Healthy"}) do
  local each = found[kind]
  if each and each.status == "True" then
    return {status = health, message = each.reason .. ": " .. (each.message or "")}
  end
end
return {status = "Progressing", message = (status.phase or "Pending") .. ": " .. (status.message or "")}
