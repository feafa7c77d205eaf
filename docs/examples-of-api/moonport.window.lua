-- Lets one unknown key in within five minutes, and says by which secret.
local listener = net_listen("lamp", "127.0.0.1", 6680, function(source, status)
    if status.kind == "window" then
        print(status.label, status.event, status.left) --> party	opened	1
    end
end)

local window = moonport.window({ listener = listener, count = 1, for_s = 300, label = "party" })
print("the secret has " .. #window.secret .. " letters") --> the secret has 26 letters
