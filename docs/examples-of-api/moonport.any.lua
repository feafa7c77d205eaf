-- Waits for whoever is first, but not for ever.
moonport.task(function()
    local door = moonport.segment(net_listen("lamp", "127.0.0.1", 6680))
    local client = door:accept()
    repeat
        local who, status = moonport.any(client, 500)
        if not who then
            print(status) --> timeout
        elseif status and status.text then
            print(status.text) --> moon
        end
    until not who
end)
