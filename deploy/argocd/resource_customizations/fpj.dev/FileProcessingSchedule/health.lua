-- Health of a FileProcessingSchedule: whether it begins its runs. How a run ends is its job's to tell.
local function condition(name)
  for _, each in ipairs((obj.status or {}).conditions or {}) do
    if each.type == name then
      return each
    end
  end
  return {}
end

local status, ready = obj.status or {}, condition("Ready")
if ready.reason == nil or (status.observedGeneration or 0) < (obj.metadata.generation or 0) then
  return {status = "Progressing", message = "the operator has not looked at it yet"}
end

local message = ready.reason .. ": " .. (ready.message or "")
if condition("Stalled").status == "True" then
  return {status = "Degraded", message = message}
end
if condition("Suspended").status == "True" then
  return {status = "Suspended", message = message}
end
if ready.status == "True" then
  return {status = "Healthy", message = message}
end
return {status = "Progressing", message = message}
