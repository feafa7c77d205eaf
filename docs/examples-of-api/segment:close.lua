-- Whoever has said something is sent away.
moonport.task(function()
    local door = moonport.segment(net_listen("lamp", "127.0.0.1", 6680))
    local client = door:accept()
    client:expect("message")
    client:send("goodbye")
    client:close()
    client:close()
    print(valid_vid(client.vid)) --> false
end)
