-- "moon" takes a client's film back by ten seconds.
local function client(source, status)
    if status.kind == "message" and status.message == "moon" then
        target_seek(source, -10)
        print("ten seconds back") --> ten seconds back
    end
end

net_listen("lamp", "127.0.0.1", 6680, function(listener, status)
    if status.kind == "segment_request" then
        accept_target(client)
    end
end)
