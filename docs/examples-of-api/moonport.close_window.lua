-- Closes a window as soon as it is open.
local listener = net_listen("lamp", "127.0.0.1", 6680, function(source, status)
    if status.kind == "window" and status.event == "opened" then
        print(moonport.close_window(source, status.id)) --> true
    elseif status.kind == "window" then
        print(status.event) --> closed
    end
end)

moonport.window({ listener = listener })
