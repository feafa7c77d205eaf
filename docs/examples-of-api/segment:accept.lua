moonport.task(function()
    local door = moonport.segment(net_listen("lamp", "127.0.0.1", 6680))
    while true do
        local client, request = door:accept()
        if not client then
            return print("not listening: " .. request)
        end
        print(request.a12_endpoint) --> 192.0.2.7:4000
    end
end)
