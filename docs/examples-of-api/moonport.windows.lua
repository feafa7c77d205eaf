-- Shows the windows of a name, whoever opened them, whenever one changes.
local listener = net_listen("lamp", "127.0.0.1", 6680, function(source, status)
    if status.kind == "window" then
        for _, window in ipairs(moonport.windows(source)) do
            print(window.label, window.open, window.left, window.enrolled) --> party	true	2	0
        end
    end
end)

moonport.window({ listener = listener, count = 2, label = "party" })
