moonport.task(function()
    local door = moonport.segment(net_listen("lamp", "127.0.0.1", 6680))
    local client = door:accept()
    for status in client:events() do
        if status.text then
            print(status.text) --> moon
        end
    end
    print("it has gone") --> it has gone
end)
