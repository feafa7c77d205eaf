-- Says something now, and something half a second later.
moonport.task(function()
    print("now") --> now
    moonport.sleep(500)
    print("later") --> later
end)
