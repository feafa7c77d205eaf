moonport.after(500, function()
    print("once") --> once
end)
