-- Stored text is on the disk when the function returns, and there when the script runs again.
print(store_key("colour", "green")) --> true
print(store_key({ width = "640", height = "480" })) --> true
