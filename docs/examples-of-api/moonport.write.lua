-- Sends back what comes; what is not taken at once waits for `drain`.
local waiting = {}

local function write(source, bytes)
    local taken = moonport.write(source, bytes) or 0
    waiting[source] = bytes:sub(taken + 1)
    return taken
end

local function client(source, status)
    if status.kind == "data" then
        print(write(source, (waiting[source] or "") .. status.data)) --> 11
    elseif status.kind == "drain" then
        write(source, waiting[source])
    elseif status.kind == "terminated" then
        waiting[source] = nil
        delete_image(source)
    end
end

net_listen("box", "curvecp://127.0.0.1", 10000, function(listener, status)
    if status.kind == "segment_request" then
        accept_target(client)
    end
end)
