"""The deployable bundle: model, front end and driver as C files, with what is needed to check them."""
