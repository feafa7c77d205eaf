-- Sends a client a tick for each message.
local function client(source, status)
    if status.kind == "message" then
        print(stepframe_target(source)) --> true
    end
end

net_listen("lamp", "127.0.0.1", 6680, function(listener, status)
    if status.kind == "segment_request" then
        accept_target(client)
    end
end)
