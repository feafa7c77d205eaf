-- Says whose keys are accepted.
moonport.keys.list("lamp", function(status)
    for _, key in ipairs(status.keys) do
        print(key.label, key.standing, #key.key) --> Anna	accepted	44
    end
end)
