-- Types an "a" at a client: key down, and up.
local function client(source, status)
    if status.kind == "preroll" then
        for _, active in ipairs({ true, false }) do
            local key = { kind = "digital", translated = true, devid = 0, subid = 0, active = active }
            key.keysym, key.modifiers, key.utf8 = 97, 0, active and "a" or ""
            print(target_input(source, key))
            --> 1
            --> 1
        end
    end
end

net_listen("lamp", "127.0.0.1", 6680, function(listener, status)
    if status.kind == "segment_request" then
        accept_target(client)
    end
end)
