-- Each client is served by a task of its own.
local function serve(client, name)
    local status = client:expect("message")
    print(name, status.text) --> anna	moon
end

moonport.task(function()
    local door = moonport.segment(net_listen("lamp", "127.0.0.1", 6680))
    local client = door:accept()
    moonport.task(serve, client, "anna")
end)
