print(moonport.json.encode({ lamp = "hall", on = true })) --> {"lamp":"hall","on":true}
print(moonport.json.encode({ 1, 2, 3 })) --> [1,2,3]
