"""From a piece of sky to mosaics: what the archives hold of it, and its files here.

`names` and `products` say what a product is; `sky` what was asked; `mast` and `hla` ask the two
services; `find` puts their answers together; `download` and `mirror` bring files here; `stamps`
asks the cutout services.
"""
