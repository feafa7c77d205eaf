local lamp = moonport.json.decode('{"lamp":"hall","on":true,"colour":null}')
print(lamp.lamp, lamp.on, lamp.colour == moonport.json.null) --> hall	true	true
print((pcall(moonport.json.decode, "{"))) --> false
