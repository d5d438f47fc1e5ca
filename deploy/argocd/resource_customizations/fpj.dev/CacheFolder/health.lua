-- Health of a CacheFolder: a place needs nobody to make it ready, so it is healthy unless a condition says otherwise.
for _, each in ipairs((obj.status or {}).conditions or {}) do
  if each.type == "Ready" and each.status == "False" then
    return {status = "Degraded", message = each.reason .. ": " .. (each.message or "")}
  end
end
return {status = "Healthy", message = ""}
