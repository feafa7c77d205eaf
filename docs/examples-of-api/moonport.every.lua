local count = 0
local ticking
ticking = moonport.every(1000, function()
    count = count + 1
    print(count) --> 1
    ticking:cancel()
end)
