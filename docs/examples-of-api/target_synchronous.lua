-- Taken for the sake of scripts that say it; nothing is drawn here, so it changes nothing.
local function client(source, status)
    if status.kind == "registered" then
        target_synchronous(source, true)
        print("as before") --> as before
    end
end

net_listen("lamp", "127.0.0.1", 6680, function(listener, status)
    if status.kind == "segment_request" then
        accept_target(client)
    end
end)
