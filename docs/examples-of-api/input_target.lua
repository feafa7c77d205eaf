-- The same as target_input: presses and lets go of a mouse button.
local function client(source, status)
    if status.kind == "preroll" then
        local button = { kind = "digital", mouse = true, devid = 0, subid = MOUSE_BTNLEFT, active = true }
        print(input_target(source, button)) --> 1
        button.active = false
        print(input_target(source, button)) --> 1
    end
end

net_listen("lamp", "127.0.0.1", 6680, function(listener, status)
    if status.kind == "segment_request" then
        accept_target(client)
    end
end)
