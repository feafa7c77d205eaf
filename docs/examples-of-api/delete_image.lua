-- Ends a client that has said enough; and forgets those that have ended by themselves.
local function client(source, status)
    if status.kind == "message" then
        delete_image(source)
        print("gone", valid_vid(source)) --> gone	false
    elseif status.kind == "terminated" then
        delete_image(source)
    end
end

net_listen("lamp", "127.0.0.1", 6680, function(listener, status)
    if status.kind == "segment_request" then
        accept_target(client)
    end
end)
