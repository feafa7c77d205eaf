-- Sets a client's option "volume", as soon as it has told of it.
local function client(source, status)
    if status.kind == "coreopt" and status.type == "key" then
        print(status.slot, status.argument) --> 3	volume
        target_coreopt(source, status.slot, "7")
    end
end

net_listen("lamp", "127.0.0.1", 6680, function(listener, status)
    if status.kind == "segment_request" then
        accept_target(client)
    end
end)
