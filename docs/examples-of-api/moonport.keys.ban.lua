-- Never lets a key in again, whatever secret it brings.
local ANNA = "CQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQk="

moonport.keys.ban(ANNA, function(status)
    print(status.ok and "anna is banned" or status.message) --> anna is banned
end)
