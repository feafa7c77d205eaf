-- A client that has ended is still there until it is deleted, but not alive.
local function client(source, status)
    if status.kind == "terminated" then
        print(valid_vid(source), valid_vid(source, TYPE_FRAMESERVER)) --> true	false
        delete_image(source)
        print(valid_vid(source)) --> false
    end
end

net_listen("lamp", "127.0.0.1", 6680, function(listener, status)
    if status.kind == "segment_request" then
        accept_target(client)
    end
end)
