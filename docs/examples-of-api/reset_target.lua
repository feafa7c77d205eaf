-- Asks a client to begin anew when it says so.
local function client(source, status)
    if status.kind == "message" and status.message == "moon" then
        reset_target(source)
        print("asked to begin anew") --> asked to begin anew
    end
end

net_listen("lamp", "127.0.0.1", 6680, function(listener, status)
    if status.kind == "segment_request" then
        accept_target(client)
    end
end)
