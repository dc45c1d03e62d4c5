"""The stages of a model's life, in their order: conversion, rollout, deletion. Each returns a Step."""
