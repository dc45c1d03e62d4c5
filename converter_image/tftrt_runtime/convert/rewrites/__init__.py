"""What is done to a frozen graph before TF-TRT looks for segments."""
