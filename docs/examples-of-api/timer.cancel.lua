-- What has not come yet does not come.
local timer = moonport.after(60000, function()
    print("never")
end)
print(timer:cancel(), timer:cancel()) --> true	false
