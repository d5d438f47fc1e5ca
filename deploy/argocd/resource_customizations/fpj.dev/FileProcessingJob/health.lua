-- Health of a FileProcessingJob: by its phase, in the words of its condition Ready, or of Progressing where work is held up.
local function condition(name)
  for _, each in ipairs((obj.status or {}).conditions or {}) do
    if each.type == name then
      return each
    end
  end
  return {}
end

local function said(found)
  if found.reason == nil then
    return ""
  end
  return found.reason .. ": " .. (found.message or "")
end

local status = obj.status or {}
if status.phase == nil or (status.observedGeneration or 0) < (obj.metadata.generation or 0) then
  return {status = "Progressing", message = "the operator has not looked at it yet"}
end

local ready, progressing, stalled = condition("Ready"), condition("Progressing"), condition("Stalled")
if stalled.status == "True" then
  return {status = "Degraded", message = said(stalled)}
end
if status.phase == "Completed" or status.phase == "CompletedWithErrors" then
  return {status = "Healthy", message = said(ready)}
end
if status.phase == "Failed" or status.phase == "Cancelled" then
  return {status = "Degraded", message = said(ready)}
end
if status.phase == "Suspended" then
  return {status = "Suspended", message = said(ready)}
end
if progressing.status == "False" and progressing.reason ~= nil and status.phase ~= "Pending" then
  return {status = "Progressing", message = said(progressing)}
end
return {status = "Progressing", message = said(ready)}
