-- One object for one vid, also among callbacks.
net_listen("lamp", "127.0.0.1", 6680, function(listener, status)
    if status.kind == "segment_request" then
        local client = moonport.segment(accept_target())
        client:send("welcome")
        print(client == moonport.segment(client.vid)) --> true
    end
end)
