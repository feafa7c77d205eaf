moonport.task(function()
    local door = moonport.segment(net_listen("lamp", "127.0.0.1", 6680))
    local client = door:accept()
    print(client:send("welcome")) --> true
end)
