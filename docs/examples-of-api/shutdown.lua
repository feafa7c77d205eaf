-- Ends when the first client asks for it.
local function client(source, status)
    if status.kind == "message" and status.message == "moon" then
        shutdown("a client wants it so", EXIT_SUCCESS)
    end
end

-- Called last of all, as the script is lamp.lua.
function lamp_shutdown()
    print("goodbye") --> goodbye
end

net_listen("lamp", "127.0.0.1", 6680, function(listener, status)
    if status.kind == "segment_request" then
        accept_target(client)
    end
end)
