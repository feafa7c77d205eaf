moonport.task(function()
    moonport.sleep(500)
    print("half a second later") --> half a second later
end)
