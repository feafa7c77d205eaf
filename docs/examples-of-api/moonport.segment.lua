-- The same vid has the same object.
local listener = net_listen("lamp", "127.0.0.1", 6680)
local object = moonport.segment(listener)
print(object.vid == listener, object == moonport.segment(listener)) --> true	true
