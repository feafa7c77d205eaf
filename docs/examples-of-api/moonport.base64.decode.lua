print(moonport.base64.decode("bW9vbg=="), moonport.base64.decode("?")) --> moon	nil
