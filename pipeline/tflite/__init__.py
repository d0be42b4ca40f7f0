"""What is done with a flatbuffer: writing it, reading it, running it."""
