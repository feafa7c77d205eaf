-- Who may come in for "lamp"; `moonport run --allow-keys lamp` lets a script ask.
moonport.keys.list("lamp", function(status)
    for _, key in ipairs(status.keys) do
        print(key.label, key.standing, key.expires) --> anna	accepted	nil
    end
end)
