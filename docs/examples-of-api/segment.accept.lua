-- Takes one client after the other, each with a task of its own.
local function talk(client)
    print("heard " .. client:expect("message").message) --> heard moon
    client:close()
end

moonport.task(function()
    local listener = moonport.segment(net_listen("lamp", "127.0.0.1", 6680))
    while true do
        local client, request = listener:accept()
        if not client then
            break
        end
        print(request.a12_endpoint) --> 192.0.2.7:4000
        moonport.task(talk, client)
    end
end)
