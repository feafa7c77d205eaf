//! Functions of Arcan's that scripts written for it may call, and that are not in the table of the
//! API: either they need a display or the like, or this host has no use for them.

/// Whether it needs a display, sound or a device.
pub(super) fn needs_display(name: &str) -> bool {
    DISPLAY.split_ascii_whitespace().any(|other| other == name)
}

/// Whether Arcan has it.
pub(super) fn is_arcan(name: &str) -> bool {
    OTHERS.split_ascii_whitespace().any(|other| other == name) || needs_display(name)
}

const DISPLAY: &str = "
    add_3dmesh alloc_surface attrtag_model audio_buffer_size audio_listener audio_outputs
    audio_position audio_reconfigure blend_image build_3dbox build_3dplane build_cylinder
    build_pointcloud build_shader build_sphere camtag_model capture_audio center_image
    color_surface controller_leds copy_image_transform copy_surface_properties crop_image
    cursor_position cursor_setstorage define_linktarget define_rendertarget delete_shader fill_surface
    finalize_3dmodel force_image_blend forward3d_model hide_image image_active_frame image_clip_off
    image_clip_on image_color image_framecyclemode image_framesetsize image_get_txcos image_hit
    image_inherit_order image_mask_clear image_mask_clearall image_mask_set image_mask_toggle
    image_mipmap image_origo_offset image_pushasynch image_resize_storage image_scale_txcos
    image_screen_coordinates image_set_txcos image_set_txcos_default image_shader image_storage_slice
    image_tesselation image_texfilter image_transform_cycle input_remap_translation input_samplebase
    inputanalog_filter inputanalog_query inputanalog_toggle instant_image_transform led_intensity
    link_image list_audio_inputs load_asample load_image load_image_asynch map_video_display
    max_current_image_order mesh_shader move3d_model move_cursor move_image new_3dmodel
    nudge_cursor nudge_image order_image orient3d_model pick_items random_surface raw_surface
    recordtarget_gain relink_image render_text rendertarget_attach rendertarget_bind
    rendertarget_detach rendertarget_forceupdate rendertarget_id rendertarget_metrics
    rendertarget_noclear rendertarget_range rendertarget_reconfigure rendertarget_vids
    resample_image reset_image_transform resize_cursor resize_image resize_video_canvas
    rotate3d_model rotate_image scale3d_model scale_3dvertices scale_image set_context_attachment
    set_image_as_frame set_led set_led_rgb shader_ugroup shader_uniform show_image step3d_model
    strafe3d_model switch_default_blendmode switch_default_imageproc switch_default_scalemode
    switch_default_texfilter switch_default_texmode swizzle_model tag_image_transform text_dimensions
    text_surface toggle_mouse_grab transfer_image_transform video_3dorder video_display_state
    video_displaydescr video_displaygamma video_synchronization vr_map_limb vr_metadata vr_setup
";

const OTHERS: &str = "
    accept_target appl_arguments arcantarget_hint audio_gain benchmark_data benchmark_enable
    benchmark_timestamp benchmark_tracedata bond_target close_rawresource current_context_usage
    decode_modifiers define_arcantarget define_calctarget define_feedtarget define_nulltarget
    define_recordtarget delete_audio delete_image expire_image focus_target frameserver_debugstall
    get_key get_keys glob_resource image_access_storage image_children image_loaded image_matchstorage
    image_metadata image_parent image_sharestorage image_state image_storage_properties
    image_surface_initial image_surface_initial_properties image_surface_properties
    image_surface_resolve image_surface_resolve_properties image_tracetag input_capabilities
    input_target kbd_repeat launch_avfeed launch_decode launch_target list_namespaces list_target_tags
    list_targets match_keys message_target net_discover net_listen net_open null_surface
    open_nonblock open_rawresource pacify_target persist_image play_audio pop_video_context
    push_video_context read_rawresource reset_target resource restore_target resume_target
    save_screenshot shutdown snapshot_target stepframe_target store_key storepop_video_context
    storepush_video_context subsystem_reset suspend_target system_collapse system_context_size
    system_defaultfont system_identstr system_load system_snapshot target_alloc target_anchorhint
    target_configurations target_coreopt target_devicehint target_displayhint target_flags
    target_fonthint target_framemode target_geohint target_graphmode target_input target_parent
    target_portconfig target_seek target_synchronous target_updatehandler target_verbose utf8kind
    valid_vid video_displaymodes warning write_rawresource zap_resource
";
