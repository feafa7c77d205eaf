print(moonport.base64.decode("bW9vbg=="), moonport.base64.decode("no base64!")) --> moon	nil
