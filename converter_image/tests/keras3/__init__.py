"""What Keras 3 exports, from TensorFlow 2.16 to 2.21: small SavedModels, kept here as those versions wrote them."""
