moonport.task(function()
    local door = moonport.segment(net_listen("lamp", "127.0.0.1", 6680))
    local client = door:accept()
    print(client:expect("registered").title) --> anna
    print(client:expect("message", 500).text) --> moon
    print(client:expect("message", 500)) --> nil	timeout
end)
