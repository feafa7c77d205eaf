-- Closes the door after a quarter of a second.
local listener = net_listen("lamp", "127.0.0.1", 6680, function(source, status) end)

moonport.after(250, function()
    delete_image(listener)
    print("closed") --> closed
end)
