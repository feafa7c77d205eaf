-- Three beats, four in a second.
local beats, timer = 0, nil

timer = moonport.every(250, function()
    beats = beats + 1
    print("beat", beats)
    --> beat	1
    --> beat	2
    --> beat	3
    if beats == 3 then
        timer:cancel()
    end
end)
