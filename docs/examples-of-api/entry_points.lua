-- Says what is called, and when. The file is lamp.lua, so that is how the names begin.
function lamp(words)
    print("begins with " .. #words .. " words") --> begins with 2 words
    net_listen("lamp", "127.0.0.1", 6680, function(listener, status)
        if status.kind == "segment_request" then
            accept_target(function(source, status) end)
        end
    end)
end

function lamp_clock_pulse(clock)
    if clock == 40 then
        print("a second has passed") --> a second has passed
    end
end

-- After the script's process had to be started again: who is still here.
function lamp_adopt(vid, segkind, title, parent, more)
    target_updatehandler(vid, function(source, status) end)
    return true
end

function lamp_shutdown()
    print("ends") --> ends
end
