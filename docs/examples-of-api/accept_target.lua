-- Takes everybody, and looks into each window that a client asks for before it says yes.
local function window(source, status)
    if status.kind == "terminated" then
        delete_image(source)
    end
end

local function client(source, status)
    if status.kind == "segment_request" then
        print("asks for " .. status.segkind) --> asks for popup
        if status.segkind == "popup" then
            accept_target(window)
        end
    elseif status.kind == "terminated" then
        delete_image(source)
    end
end

net_listen("lamp", "127.0.0.1", 6680, function(listener, status)
    if status.kind == "segment_request" then
        local vid, _, cookie = accept_target(client)
        print(valid_vid(vid), type(cookie)) --> true	number
    end
end)
