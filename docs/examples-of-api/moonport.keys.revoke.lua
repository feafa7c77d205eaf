-- Takes "lamp" from a key; whoever holds it is cut before the function is called.
local ANNA = "CQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQk="

moonport.keys.revoke(ANNA, "lamp", function(status)
    print(status.ok and "anna is out" or status.message) --> anna is out
end)
